package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// thing is the resource aplombtest_thing: a file of the folder.
type thing struct{ store *store }

var (
	_ resource.ResourceWithConfigure   = (*thing)(nil)
	_ resource.ResourceWithImportState = (*thing)(nil)
)

type thingModel struct {
	ID         types.String `tfsdk:"id"`
	Name       types.String `tfsdk:"name"`
	Zone       types.String `tfsdk:"zone"`
	Content    types.String `tfsdk:"content"`
	Secret     types.String `tfsdk:"secret"`
	Token      types.String `tfsdk:"token"`
	Delay      types.String `tfsdk:"delay"`
	FailCreate types.Bool   `tfsdk:"fail_create"`
	FailUpdate types.Bool   `tfsdk:"fail_update"`
	FailDelete types.Bool   `tfsdk:"fail_delete"`
}

func (*thing) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_thing"
}

func (*thing) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	anew := []planmodifier.String{stringplanmodifier.RequiresReplace()}
	kept := []planmodifier.String{stringplanmodifier.UseStateForUnknown()}
	resp.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"id":          schema.StringAttribute{Computed: true, PlanModifiers: kept},
		"name":        schema.StringAttribute{Required: true, PlanModifiers: anew, MarkdownDescription: "Name of its file."},
		"zone":        schema.StringAttribute{Optional: true, PlanModifiers: anew, MarkdownDescription: "Cannot be altered in place."},
		"content":     schema.StringAttribute{Optional: true},
		"secret":      schema.StringAttribute{Optional: true, Sensitive: true},
		"token":       schema.StringAttribute{Computed: true, Sensitive: true, PlanModifiers: kept, MarkdownDescription: "Made once, and secret."},
		"delay":       schema.StringAttribute{Optional: true, MarkdownDescription: "How long each write takes."},
		"fail_create": schema.BoolAttribute{Optional: true},
		"fail_update": schema.BoolAttribute{Optional: true},
		"fail_delete": schema.BoolAttribute{Optional: true},
	}}
}

func (t *thing) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if s, ok := req.ProviderData.(*store); ok {
		t.store = s
	}
}

func (t *thing) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	var m thingModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !t.works(&resp.Diagnostics, "create", &m, m.FailCreate) {
		return
	}
	r, err := t.store.create(m.record())
	if err != nil {
		resp.Diagnostics.AddError("Cannot create "+m.Name.ValueString(), err.Error())
		return
	}
	m.ID, m.Token = types.StringValue(r.ID), types.StringValue(r.Token)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func (t *thing) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	var m thingModel
	resp.Diagnostics.Append(req.State.Get(ctx, &m)...)
	r, err := t.store.read(m.Name.ValueString())
	if errors.Is(err, fs.ErrNotExist) {
		resp.State.RemoveResource(ctx)
		return
	}
	if err != nil {
		resp.Diagnostics.AddError("Cannot read "+m.Name.ValueString(), err.Error())
		return
	}
	m.ID, m.Token = types.StringValue(r.ID), types.StringValue(r.Token)
	m.Zone, m.Content, m.Secret = types.StringPointerValue(r.Zone), types.StringPointerValue(r.Content), types.StringPointerValue(r.Secret)
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func (t *thing) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	var m thingModel
	resp.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !t.works(&resp.Diagnostics, "update", &m, m.FailUpdate) {
		return
	}
	if err := t.store.update(m.record()); err != nil {
		resp.Diagnostics.AddError("Cannot update "+m.Name.ValueString(), err.Error())
		return
	}
	resp.Diagnostics.Append(resp.State.Set(ctx, &m)...)
}

func (t *thing) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	var m thingModel
	resp.Diagnostics.Append(req.State.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() || !t.works(&resp.Diagnostics, "delete", &m, m.FailDelete) {
		return
	}
	if err := t.store.delete(m.Name.ValueString()); err != nil {
		resp.Diagnostics.AddError("Cannot delete "+m.Name.ValueString(), err.Error())
	}
}

// ImportState takes a thing by its name.
func (*thing) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	resource.ImportStatePassthroughID(ctx, path.Root("name"), req, resp)
}

// works takes its time, whatever is cancelled meanwhile, and fails where it is
// told to. What it says then repeats what is secret, as real providers do.
func (t *thing) works(diags *diag.Diagnostics, what string, m *thingModel, fails types.Bool) bool {
	if d, err := time.ParseDuration(m.Delay.ValueString()); err == nil {
		<-time.After(d)
	}
	if fails.ValueBool() {
		diags.AddError("Told to fail", fmt.Sprintf("%s of %s, with the secret %s", what, m.Name.ValueString(), m.Secret.ValueString()))
		return false
	}
	return true
}

func (m *thingModel) record() record {
	return record{
		Name: m.Name.ValueString(), ID: m.ID.ValueString(), Token: m.Token.ValueString(),
		Zone: m.Zone.ValueStringPointer(), Content: m.Content.ValueStringPointer(), Secret: m.Secret.ValueStringPointer(),
	}
}
